"""What the kernel sees: a thin adapter between pyfuse3 and ``backend.drive``."""
