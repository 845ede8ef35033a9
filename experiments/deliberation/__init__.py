"""What rules give each group of voters in real deliberations and on a leaderboard."""
