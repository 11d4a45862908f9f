//! A few connections for reading, opened when first needed and shared by whoever asks next.

use std::sync::{Arc, Mutex};

use migrations::{Conn, DbError, Url};

/// Connections to one database. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    url: Url,
    idle: Arc<Mutex<Vec<Conn>>>,
}

/// How many idle connections are kept.
const KEEP: usize = 4;

impl Pool {
    /// A pool without connections yet.
    pub fn new(url: Url) -> Self {
        Self { url, idle: Arc::default() }
    }

    /// An idle connection, or a new one.
    pub fn get(&self) -> Result<Pooled, DbError> {
        let idle = self.idle.lock().unwrap_or_else(|e| e.into_inner()).pop();
        let conn = idle.map_or_else(|| Conn::open(&self.url), Ok)?;
        Ok(Pooled {
            conn: Some(conn),
            idle: self.idle.clone(),
        })
    }

    /// Runs `body` on a connection; one that failed is dropped, not reused.
    pub fn with<T, E: From<DbError>>(&self, body: impl FnOnce(&mut Conn) -> Result<T, E>) -> Result<T, E> {
        let mut pooled = self.get()?;
        let Some(conn) = pooled.conn.as_mut() else {
            return Err(DbError::Corrupt("an empty connection".into()).into());
        };
        let result = body(conn);
        if result.is_err() {
            pooled.conn = None;
        }
        result
    }
}

/// A connection on loan.
pub struct Pooled {
    conn: Option<Conn>,
    idle: Arc<Mutex<Vec<Conn>>>,
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut idle = self.idle.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(conn) = self.conn.take().filter(|_| idle.len() < KEEP) {
            idle.push(conn);
        }
    }
}
