//! The companion API over HTTP, on a database of its own for each test.

mod documents;
mod health;
mod owner;
mod sessions;
mod v1;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use ::api::{
    Api, CursorKey,
    accounts::{Accounts, flow},
    health::{Health, Probe},
    pages::Pages,
    tracks::{Beat, Engine, EngineError, Tracks},
};
use ::front::{
    Gate, TrustedProxies,
    accept::{Limits, Stop, serve},
    csrf, router,
    session::Cookies,
};
use bytes::Bytes;
use http::Method;
use pipeline::{download::Format, grant};
use schema::{
    Id,
    caller::Account,
    machine::{Refused, take},
    track::{self, Track},
};
use serde_json::Value;
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::support::postgres::Database;

pub(crate) const ORIGIN: &str = "https://music.example";

/// The API on a socket.
pub(crate) struct App {
    pub(crate) db: PgPool,
    pub(crate) address: SocketAddr,
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) grants: grant::Keys,
    pub(crate) stop: Stop,
    pub(crate) http: reqwest::Client,
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::with(Beat::default()).await
    }

    pub(crate) async fn with(beat: Beat) -> Self {
        let db = Database::new().await.pool;
        let engine = Arc::new(FakeEngine { db: db.clone(), peaks: Mutex::default() });
        let api = composed(&db, Arc::clone(&engine) as Arc<dyn Engine>, beat);
        let grants = api.tracks.grants.clone();
        let gate = Gate {
            db: db.clone(),
            csrf: csrf::Key::new(&[7; 32]),
            cookies: api.accounts.cookies,
            origins: vec![ORIGIN.to_owned()],
            proxies: TrustedProxies::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, app) = (Stop::default(), router(::api::routes(api), gate));
        tokio::spawn(serve(vec![listener], app, Limits::default(), TrustedProxies::default(), stop.clone()));
        Self { db, address, engine, grants, stop, http: no_redirects() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A creator with a token.
    pub(crate) async fn user(&self, name: &str) -> User<'_> {
        let account = flow::create_user(&self.db, name, "creator").await.unwrap();
        let token = flow::create_token(&self.db, account, "test").await.unwrap().reveal().to_owned();
        User { app: self, account, token }
    }
}

pub(crate) fn composed(db: &PgPool, engine: Arc<dyn Engine>, beat: Beat) -> Api {
    let accounts = Accounts { db: db.clone(), cookies: Cookies { secure: false }, is_development: true };
    let tracks = Tracks {
        db: db.clone(),
        engine,
        grants: grant::Keys::new((1, &[3; 32]), None),
        cursors: CursorKey::new(&[5; 32]),
        stream_url_ttl: Duration::from_secs(900),
        download_url_ttl: Duration::from_secs(1800),
        beat,
        streams: Arc::new(Semaphore::new(2)),
    };
    let probes = vec![Probe::db(db.clone()), Probe::disabled("redis"), Probe::disabled("s3")];
    let pages = Pages { db: db.clone(), accounts: accounts.clone(), csrf: csrf::Key::new(&[7; 32]) };
    Api { accounts, tracks, pages, health: Health::new(probes), documents: vec![], beside: vec![] }
}

fn no_redirects() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// Somebody with a token.
pub(crate) struct User<'a> {
    app: &'a App,
    pub(crate) account: Id<Account>,
    pub(crate) token: String,
}

impl User<'_> {
    pub(crate) fn ask(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.app.http.request(method, self.app.url(path)).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        told(self.ask(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> (u16, Value) {
        told(self.ask(Method::POST, path)).await
    }
}

/// The status, and the JSON if there is some.
pub(crate) async fn told(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
}

/// Does to the rows what the pipeline would.
#[derive(Debug)]
pub(crate) struct FakeEngine {
    db: PgPool,
    pub(crate) peaks: Mutex<Option<Bytes>>,
}

#[async_trait::async_trait]
impl Engine for FakeEngine {
    async fn peaks(&self, _track: Id<Track>) -> Result<Option<Bytes>, EngineError> {
        Ok(self.peaks.lock().unwrap().clone())
    }

    async fn picture(&self, _track: Id<Track>, side: i32) -> Result<Option<Bytes>, EngineError> {
        Ok(Some(format!("a picture of {side}").into()))
    }

    async fn retry(&self, track: Id<Track>) -> Result<(), EngineError> {
        let mut tx = schema::begin(&self.db).await.unwrap();
        let edge = track::Retry { run: None, reason: None, detail: None };
        match take(&mut tx, track, edge).await {
            Ok(_took) => {
                tx.commit().await.unwrap();
                Ok(())
            }
            Err(Refused::Missing) => Err(EngineError::Missing),
            Err(_) => Err(EngineError::Illegal),
        }
    }

    async fn rendition_len(&self, _: Id<Track>, _: Format, _: &str) -> Result<Option<u64>, EngineError> {
        Ok(None)
    }

    async fn retitle(&self, track: Id<Track>, title: &str) -> Result<(), EngineError> {
        let sql = "UPDATE tracks SET title = $2 WHERE id = $1";
        sqlx::query(sql).bind(track.uuid()).bind(title).execute(&self.db).await.unwrap();
        Ok(())
    }
}
