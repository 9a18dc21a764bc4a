"""One command or group of `order-tracking` a module, each under the name `command`.

A module loads what its command needs when the command runs, so that help and completion come at once.
"""
