"""The service: leads, mail and chat behind one HTTP API, and the background work that goes with them."""
