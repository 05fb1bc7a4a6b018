"""Servers and proxies that misbehave on request, for the fault tests. Nothing here knows the SDK."""
