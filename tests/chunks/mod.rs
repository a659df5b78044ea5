//! `/api/v1/uploads`: chunks in any order, in parallel, repeated, cut and killed, on one node and on two.

mod crash;
mod limits;
mod nodes;
mod order;
mod repeat;
