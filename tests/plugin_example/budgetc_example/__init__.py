"""A plugin of budgetc by somebody else: a pass, a target and a metric."""
