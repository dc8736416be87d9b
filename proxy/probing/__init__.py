"""What an endpoint can really do, found out by real requests: what `evalside probe` is made of."""
