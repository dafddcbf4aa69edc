"""Task specs and the models that they describe: the one place that knows columns, bins and losses."""
