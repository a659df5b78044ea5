//! Other people's clients, as they are published, against the real server. Each file is hashed here, not by us there.

mod aiotus;
mod curl;
mod ground;
mod matrix;
mod resumable;
mod run;
mod tus_js;
mod tuspy;
mod uppy;
