"""Backups: what the image ``ccl-backup`` runs. Knows databases and destinations, nothing of Kubernetes."""
