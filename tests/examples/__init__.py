"""The programs of the folder `examples`, run by the commands of their pages against a real gateway."""
