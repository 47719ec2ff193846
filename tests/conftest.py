"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# Whether a test passes must not depend on how busy the machine is, nor on chance.
settings.register_profile("ferdata", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ferdata")
