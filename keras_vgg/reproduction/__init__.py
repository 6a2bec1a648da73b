"""The paper as one study: its nets and tables as a graph of commands, what that takes, and what came out of it."""
