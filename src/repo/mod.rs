//! The stored format: what the bytes of a repository mean, and the ways to write and read them.
