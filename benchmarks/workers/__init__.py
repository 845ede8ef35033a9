"""What runs inside the environments, one file a peer; each imports that peer and NumPy only."""
