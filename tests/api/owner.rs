//! The owner, their token's file, and their own machine.

use std::os::unix::fs::PermissionsExt;

use ::api::accounts::{Accounts, flow};
use ::front::session::Cookies;
use http::HeaderMap;
use schema::caller;

use crate::support::postgres::Database;

const NODE: uuid::Uuid = uuid::Uuid::from_u128(7);

#[tokio::test]
async fn there_is_one_owner_and_their_token_is_in_a_private_file() {
    let db = Database::new().await.pool;
    let data = tempfile::tempdir().unwrap();
    let first = flow::ensure_owner(&db, data.path(), NODE).await.unwrap();
    assert!(first.is_new);
    assert_eq!(std::fs::metadata(&first.token_file).unwrap().permissions().mode() & 0o777, 0o600);
    let read = || std::fs::read_to_string(&first.token_file).unwrap().trim().to_owned();
    let token = read();
    assert_eq!(caller::by_token(&db, &token).await.unwrap().unwrap().account, first.account);

    let second = flow::ensure_owner(&db, data.path(), NODE).await.unwrap();
    assert!(!second.is_new && second.account == first.account && read() == token, "kept");

    std::fs::remove_file(&first.token_file).unwrap();
    let third = flow::ensure_owner(&db, data.path(), NODE).await.unwrap();
    assert!(third.is_new && third.account == first.account && read() != token);
    assert!(caller::by_token(&db, &token).await.unwrap().is_none(), "the lost one is void");
    std::fs::write(&first.token_file, "rubbish").unwrap();
    assert!(flow::ensure_owner(&db, data.path(), NODE).await.unwrap().is_new);
    assert!(caller::by_token(&db, &read()).await.unwrap().is_some());
    let left: Vec<_> = std::fs::read_dir(data.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["owner-token"], "no draft stays");
}

#[tokio::test]
async fn racing_starts_find_the_same_owner() {
    let db = Database::new().await.pool;
    let data: Vec<_> = (0..8).map(|_| tempfile::tempdir().unwrap()).collect();
    let starts = data.iter().map(|data| flow::ensure_owner(&db, data.path(), NODE));
    let owners = futures_util::future::join_all(starts).await;
    let owners: Vec<_> = owners.into_iter().map(|owner| owner.unwrap().account).collect();
    assert!(owners.iter().all(|owner| *owner == owners[0]));
}

#[tokio::test]
async fn the_owner_at_home_gets_a_session_and_production_gives_none() {
    let db = Database::new().await.pool;
    let headers: HeaderMap = [(http::header::HOST, "127.0.0.1:8080".parse().unwrap())].into_iter().collect();
    for is_development in [true, false] {
        let accounts = Accounts { db: db.clone(), cookies: Cookies { secure: false }, is_development };
        let home = flow::sign_in_at_home(&accounts, [127, 0, 0, 1].into(), &headers).await.unwrap();
        assert_eq!(home.is_some(), is_development);
        let Some((caller, cookie)) = home else { continue };
        let secret = cookie.to_str().unwrap().split(['=', ';']).nth(1).unwrap();
        let found = caller::by_session(&db, secret).await.unwrap().unwrap();
        assert_eq!((found.account, found.session), (caller.account, caller.session));
    }
}

#[tokio::test]
async fn users_are_made_listed_and_refused() {
    let db = Database::new().await.pool;
    let ada = flow::create_user(&db, " Ada ", "listener").await.unwrap();
    let users = flow::users(&db).await.unwrap();
    assert_eq!((users[0].id, users[0].name.as_str(), users[0].role.as_str()), (ada, "Ada", "listener"));
    assert!(flow::create_user(&db, " ", "listener").await.is_err());
    assert!(flow::create_user(&db, "Eve", "root").await.is_err());
    assert!(flow::create_token(&db, schema::Id::in_order(), "x").await.is_err());
}
