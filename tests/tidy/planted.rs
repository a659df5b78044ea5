//! Every rule is shown a fault, and must see it; and something like it that is fine, and must be quiet.

use super::{Rule, layers, tree::Tree};

const DOC: &str = "//! Why.\n";

#[track_caller]
fn sees(rule: Rule, path: &str, text: &str) {
    assert!(!rule(&Tree::of(path, text)).is_empty(), "a fault in {path} was not seen: {text}");
}

#[track_caller]
fn passes(rule: Rule, path: &str, text: &str) {
    assert_eq!(rule(&Tree::of(path, text)), Vec::<String>::new(), "{path}");
}

fn lines(n: usize, around: (&str, &str)) -> String {
    format!("{DOC}{}{}{}", around.0, "    call();\n".repeat(n), around.1)
}

#[test]
fn of_form() {
    sees(super::files_open_with_their_reason, "src/a.rs", "use std::fs;\n");
    passes(super::files_open_with_their_reason, "src/a.rs", DOC);
    sees(super::files_are_short, "src/a.rs", &lines(500, ("", "")));
    sees(super::functions_fit_a_screen, "src/a.rs", &lines(70, ("pub async fn long(\n    a: u8,\n) {\n", "}\n")));
    passes(super::functions_fit_a_screen, "src/a.rs", &lines(60, ("fn short() {\n", "}\n")));
    passes(super::functions_fit_a_screen, "src/a.rs", &lines(100, ("trait T {\n    fn a();\n}\nmacro! {\n", "}\n")));
}

#[test]
fn of_names() {
    sees(super::names_say_something, "src/util/mod.rs", DOC);
    sees(super::names_say_something, "src/a.rs", "//! W\nstruct UploadManager;\n");
    sees(super::names_say_something, "src/a.rs", "//! W\npub async fn get_orders() {}\n");
    sees(super::names_say_something, "src/a.rs", "//! W\npub mod helpers;\n");
    passes(
        super::names_say_something,
        "src/a.rs",
        "//! W\nimpl hyper::service::Service<R> for Door {}\nlet b = x.get_mut();\n",
    );
}

#[test]
fn of_state() {
    let rule = super::states_move_along_edges;
    sees(rule, "api/src/a.rs", "\"UPDATE orders SET state = $2 WHERE id = $1\"");
    sees(rule, "api/src/a.rs", "\"UPDATE orders o\n  SET paid = true,\n  state='paid' FROM found\"");
    sees(rule, "api/src/a.sql", "update t set state = 'x';");
    passes(rule, "api/src/a.rs", "\"UPDATE parts SET sha_state = $2 WHERE state = $1\"");
    passes(rule, "migrations/src/machine.rs", "\"UPDATE t SET state = $2\"");
}

#[test]
fn of_the_environment_and_unsafe() {
    sees(super::the_environment_is_read_once, "api/src/a.rs", "let x = std::env::var(\"X\");");
    passes(super::the_environment_is_read_once, "src/config/source.rs", "env::vars_os()");
    passes(super::the_environment_is_read_once, "src/a.rs", "env!(\"CARGO_PKG_VERSION\")");
    let rule = super::unsafe_is_named;
    sees(rule, "api/src/a.rs", "//! W\nfn f() { unsafe { g() } }");
    sees(rule, "src/postgres/child.rs", "//! W\nfn f() { unsafe { g() } }");
    passes(rule, "src/postgres/child.rs", "//! W\n// SAFETY: it is.\nfn f() { unsafe { g() } }");
    sees(rule, "api/src/a.rs", "//! W\nunsafe impl Send for X {}");
    passes(rule, "api/src/a.rs", "//! W\n// unsafe { }\nlet a = \"unsafe-inline\";");
}

#[test]
fn of_scripts_size_and_promises() {
    let twice = Tree::of("migrations/0001_a.sql", "").and("migrations/0001_b.sql", "");
    assert_eq!(super::scripts_are_numbered_once(&twice).len(), 1);
    sees(super::scripts_are_numbered_once, "migrations/extra.sql", "");
    sees(super::nothing_is_bulky, "docs/a.png", &"x".repeat((1 << 20) + 1));
    let promises = |text| Tree::of("ARCHITECTURE.md", text).and("tests/a.rs", "fn it_holds() {}");
    assert!(super::promises_name_their_tests(&promises("it holds (`tests/a.rs::it_holds`)")).is_empty());
    assert_eq!(super::promises_name_their_tests(&promises("`tests/a.rs::it_falls`, `tests/b.rs`")).len(), 2);
}

#[test]
fn of_layers() {
    sees(layers::crates, "stream-server/Cargo.toml", "[dependencies]\napi.workspace = true\n");
    sees(layers::crates, "front/Cargo.toml", "[dependencies]\npipeline = { path = \"../pipeline\" }\n");
    sees(layers::crates, "common/Cargo.toml", "");
    passes(layers::crates, "api/Cargo.toml", "[dependencies]\nschema.workspace = true\nfront.workspace = true\n");
    sees(layers::rooms, "api/src/orders/sql.rs", "use super::flow;\n");
    sees(layers::rooms, "api/src/orders/model.rs", "use super::sql::row;\n");
    passes(layers::rooms, "api/src/orders/flow.rs", "use super::sql;\n");
    let api = |text| {
        let tree = Tree::of("api/src/lib.rs", "pub mod accounts;\nmod orders;\n");
        tree.and("api/src/accounts/flow.rs", text).and("api/src/orders/flow.rs", "use crate::accounts::model::Id;\n")
    };
    assert!(layers::domains(&api("")).is_empty());
    assert_eq!(layers::domains(&api("use crate::orders::flow::place;\n")).len(), 1);
    let sql = Tree::of("api/src/lib.rs", "mod accounts;\nmod orders;\n").and("api/src/accounts/flow.rs", "");
    let sql = sql.and("api/src/orders/flow.rs", "use crate::accounts::sql::by_id;\n");
    assert_eq!(layers::domains(&sql).len(), 1);
}
