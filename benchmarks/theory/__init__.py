"""What is exactly so: enumeration of a small token MDP."""
