"""The shop's database."""

from django.db import models


class Order(models.Model):
    circle = models.IntegerField()  # whose room follows it
    status = models.CharField(max_length=20)
