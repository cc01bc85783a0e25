"""What an outage does to the renewals of a hundred million devices: docs/renewal.md. Pure but for `calibrate`.

Times are seconds since midnight of the first simulated day, as floats; a rate is per second. Random numbers come from
a seeded `numpy.random.Generator`, so the same seed gives the same figures.
"""
