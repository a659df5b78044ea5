//! State machines, written once in types and guarded again in SQL.
//!
//! `take` is the only writer of a `state` column. What it returns proves the edge: `Took` has private fields,
//! isn't `Clone`, and nothing else makes one, so an effect that asks for `&Took<Seal>` can't run before the seal.
//! `Took` proves the edge, not the commit: pass the same transaction on.
//! The trigger `walk_edge` refuses, even from psql, what isn't in table `edge`; `tests/machines.rs` compares both lists.

use std::marker::PhantomData;

use sqlx::{AssertSqlSafe, Postgres, Row, postgres::PgArguments, query::Query};

use crate::{Id, Tx};

/// A table whose rows move along edges.
pub trait Machine: Sized + 'static {
    /// The table, which is also the machine's name in `edge`.
    const TABLE: &'static str;
    /// All edges as (from, to, name); `from` is empty for the birth of a row.
    const EDGES: &'static [(&'static str, &'static str, &'static str)];
    /// The states.
    type State: State;
}

/// A machine's states, with their names in SQL.
pub trait State: Copy + Eq + std::fmt::Debug + 'static {
    /// As the column holds it.
    fn name(self) -> &'static str;
    /// The state of that name.
    fn named(name: &str) -> Option<Self>;
}

/// One legal transition, with the columns that must be set with it.
pub trait Edge: Send {
    /// Whose edge it is.
    type Of: Machine;
    /// Its name.
    const NAME: &'static str;
    /// Where it may start.
    const FROM: &'static [<Self::Of as Machine>::State];
    /// Where it ends.
    const TO: <Self::Of as Machine>::State;
    /// The columns that it sets besides `state`, bound in this order.
    const SETS: &'static [&'static str];
    /// Binds the values of `SETS`.
    fn bind<'q>(self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments>;
}

/// Proof that this transaction moved the row along `E`.
#[must_use = "an edge is taken for its effects: name them, or `let _proof`"]
pub struct Took<E: Edge> {
    id: Id<E::Of>,
    edge: PhantomData<fn() -> E>,
}

impl<E: Edge> Took<E> {
    /// The row that moved.
    pub fn id(&self) -> Id<E::Of> {
        self.id
    }
}

/// Why a row didn't move. The state told is true: the row is locked by this transaction.
#[derive(Debug, thiserror::Error)]
pub enum Refused<S: std::fmt::Debug> {
    /// No such row.
    #[error("no such row")]
    Missing,
    /// The row is already where the edge leads: somebody took it before. A replay stops here, without effect.
    #[error("already there")]
    AlreadyThere,
    /// The row stands where the edge doesn't start.
    #[error("no edge from {found:?}")]
    Illegal {
        /// Where it stands.
        found: S,
    },
    /// The database failed; nothing is known.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// Moves one row along `edge`, or says why not.
///
/// `FOR UPDATE` and `FROM found` are what make the loser of a race hear the true state: without them READ COMMITTED
/// tells it the one that is gone.
///
/// # Errors
/// [`Refused`]; after `Db` the transaction is unusable.
pub async fn take<E: Edge>(
    tx: &mut Tx<'_>,
    id: Id<E::Of>,
    edge: E,
) -> Result<Took<E>, Refused<<E::Of as Machine>::State>> {
    let table = <E::Of as Machine>::TABLE;
    let sets: String = E::SETS.iter().enumerate().map(|(i, column)| format!(", {column} = ${}", i + 4)).collect();
    let sql = format!(
        "WITH found AS (SELECT id, state FROM {table} WHERE id = $1 FOR UPDATE),
              took AS (UPDATE {table} t SET state = $2{sets}
                         FROM found WHERE t.id = found.id AND found.state = ANY($3) RETURNING t.id)
         SELECT found.state, took.id IS NOT NULL AS took FROM found LEFT JOIN took USING (id)"
    );
    let from: Vec<&'static str> = E::FROM.iter().map(|s| s.name()).collect();
    // Only names from the macro are assembled above; every value is bound.
    let query = sqlx::query(AssertSqlSafe(sql)).bind(id.uuid()).bind(E::TO.name()).bind(from);
    let Some(row) = edge.bind(query).fetch_optional(&mut **tx).await? else { return Err(Refused::Missing) };
    if row.try_get("took")? {
        return Ok(Took { id, edge: PhantomData });
    }
    match <E::Of as Machine>::State::named(row.try_get("state")?) {
        Some(found) if found == E::TO => Err(Refused::AlreadyThere),
        Some(found) => Err(Refused::Illegal { found }),
        None => Err(Refused::Db(sqlx::Error::Decode("a state that this release doesn't know".into()))),
    }
}

/// Declares a machine: its marker type, its `State`, and one type per edge with the columns that it carries.
#[macro_export]
macro_rules! machine {
    (
        $(#[$doc:meta])* $name:ident in $table:literal;
        opens $open:ident;
        states { $($(#[$sdoc:meta])* $state:ident = $text:literal),+ $(,)? }
        edges { $($(#[$edoc:meta])* $edge:ident $({ $($(#[$cdoc:meta])* $col:ident : $ty:ty),+ $(,)? })? : $($from:ident)|+ => $to:ident),+ $(,)? }
    ) => {
        $(#[$doc])*
        pub enum $name {}

        /// Where a row stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum State { $($(#[$sdoc])* #[serde(rename = $text)] $state),+ }

        impl $crate::machine::State for State {
            fn name(self) -> &'static str {
                match self { $(Self::$state => $text),+ }
            }
            fn named(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$state),)+ _ => None }
            }
        }

        impl $crate::machine::Machine for $name {
            const TABLE: &'static str = $table;
            const EDGES: &'static [(&'static str, &'static str, &'static str)] = &[
                ("", state_name(State::$open), "Open"),
                $($((state_name(State::$from), state_name(State::$to), stringify!($edge)),)+)+
            ];
            type State = State;
        }

        const fn state_name(state: State) -> &'static str {
            match state { $(State::$state => $text),+ }
        }

        $(
            $(#[$edoc])*
            #[derive(Debug)]
            pub struct $edge { $($($(#[$cdoc])* pub $col: $ty),+)? }

            impl $crate::machine::Edge for $edge {
                type Of = $name;
                const NAME: &'static str = stringify!($edge);
                const FROM: &'static [State] = &[$(State::$from),+];
                const TO: State = State::$to;
                const SETS: &'static [&'static str] = &[$($(stringify!($col)),+)?];
                fn bind<'q>(
                    self,
                    query: sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>,
                ) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
                    query $($(.bind(self.$col))+)?
                }
            }
        )+
    };
}
