//! Tables of what a network needs next.
