"""Documents of datapacks at the service: kept, edited."""
