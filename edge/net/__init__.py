"""Every socket and protocol class: devices on one side, origins on the other."""
