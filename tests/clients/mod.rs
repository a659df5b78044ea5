//! Other people's clients, as they are published, against the real server. Each file is hashed here, not by us there.

mod curl;
mod run;
mod tus_js;
mod tuspy;
