"""Settings for the tests of the core: they are pure, so nothing here opens, waits or patches."""

from hypothesis import settings

# A shared machine may stop a test for longer than hypothesis's 0.2 s; nothing here can hang.
settings.register_profile("core", deadline=None, max_examples=50)
settings.load_profile("core")
