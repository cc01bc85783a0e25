"""The apps that are measured: each answers /browse, with a middleware that reads the Passport and without."""
