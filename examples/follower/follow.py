"""Terminal follower: prints and counts the events of rooms; after `kill -9` it goes on where it was."""

import json
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

from gathering_client import Cursor, Event, GatewayError, StateChange
from gathering_client.sync import connect

FILE = Path("follow.pickle")


@dataclass
class Progress:
    """The count of the events, and the place after the last of them: stored together, they always agree."""

    count: int = 0
    cursor: Cursor | None = None

    def store(self, cursor: Cursor | None) -> None:
        self.cursor = cursor
        draft = FILE.with_suffix(".draft")
        draft.write_bytes(pickle.dumps(self))
        draft.replace(FILE)  # atomic: a crash leaves the old file or the new one


def follow(*rooms: str) -> None:
    progress: Progress = pickle.loads(FILE.read_bytes()) if FILE.exists() else Progress()

    def on_state(change: StateChange) -> None:
        if change.state == "live":
            progress.store(events.cursor)  # so that a crash before the first event loses none

    with connect(os.environ["GATEWAY_URL"], token=os.environ["GATEWAY_TOKEN"]) as client:
        events = client.subscribe(*rooms, since=progress.cursor, on_state=on_state)
        for item in events:
            if isinstance(item, Event):
                progress.count += 1
                print(progress.count, item.type, json.dumps(item.data), flush=True)
            else:
                print("events were lost:", item.reason, flush=True)
            progress.store(events.cursor)  # after the work: a crash in between repeats it


if __name__ == "__main__":
    try:
        follow(*sys.argv[1:])
    except GatewayError as error:
        sys.exit(f"follow.py: {error}")
    except KeyboardInterrupt:
        pass
