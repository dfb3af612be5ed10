"""Horizons: shared by rounds, renewed, released, and few."""

from gateway.core.horizons import LEASE_SECONDS, MAX_HORIZONS, Horizons


def test_rounds_share_a_horizon_that_is_ahead() -> None:
    """A round takes the newest horizon that is in use after its own place, or else the head."""
    horizons = Horizons()
    assert horizons.newest == 0
    assert horizons.take(10, 100) == 100
    assert horizons.take(50, 150) == 100
    assert horizons.take(100, 150) == 150
    assert horizons.take(20, 170) == 150
    horizons.release(100)
    assert horizons.need(90, 101)
    horizons.release(100)
    assert not horizons.need(90, 101)
    assert horizons.need(150, 151)
    assert not horizons.need(151, 200)
    assert not horizons.need(120, 150)
    horizons.release(150)
    horizons.release(150)
    assert horizons.newest == 0


def test_round_whose_horizon_was_released_early_takes_a_later_one() -> None:
    """The next that is in use, or else the head."""
    horizons = Horizons()
    for horizon in (10, 20, 30):
        horizons.hold(horizon)
    assert horizons.renew(20, 99, 1.0) == 20
    horizons.release_oldest()
    assert horizons.renew(10, 99, 1.0) == 20
    assert horizons.renew(31, 99, 1.0) == 99
    horizons.release(20)
    horizons.release(20)
    assert not horizons.need(20, 21)


def test_horizon_of_a_client_that_is_gone_expires() -> None:
    """Where no round goes on with it."""
    horizons = Horizons()
    horizons.hold(10)
    horizons.hold(20)
    horizons.renew(20, 99, 1.0)
    horizons.renew(20, 99, LEASE_SECONDS)
    horizons.expire()
    assert horizons.need(10, 11)
    horizons.renew(20, 99, LEASE_SECONDS + 1.0)
    horizons.expire()
    assert not horizons.need(10, 11)
    assert horizons.newest == 20


def test_horizons_are_few() -> None:
    """Beyond a number the lowest is released."""
    horizons = Horizons()
    for horizon in range(1, MAX_HORIZONS + 6):
        horizons.hold(horizon)
    assert not horizons.need(5, 6)
    assert horizons.need(6, 7)
