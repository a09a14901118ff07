"""From a model file that nobody vouches for to one self-contained graph with static shapes."""
