"""What filters, relay and adapters agree on: values and protocols, standard library only."""
