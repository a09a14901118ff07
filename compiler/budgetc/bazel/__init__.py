"""The rule for Bazel: `budgetc.bzl`, which a workspace takes a copy of."""
