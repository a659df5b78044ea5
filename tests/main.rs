//! One integration binary.

//mod cli;
mod machines;
mod postgres;
mod tidy;
