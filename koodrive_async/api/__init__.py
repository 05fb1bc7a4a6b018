"""The operations of the service as methods, in the groups of its documentation (koodrive_05_0007)."""
