//! From the socket to a handler: accept loop, policy, caller, problem.
