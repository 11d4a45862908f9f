//! Databases for a measurement, which leave nothing behind.

use std::path::Path;

use diesel::connection::SimpleConnection;
use migrations::{Conn, DbError, Url};

/// A fresh database. On PostgreSQL it is a schema, dropped at the end; on SQLite a file in the caller's own temporary folder.
pub struct Scratch {
    url: String,
    /// On PostgreSQL: where the schema is, and its name.
    schema: Option<(Url, String)>,
}

impl Scratch {
    /// `database` is a PostgreSQL URL; anything else makes a file in `folder`. `name` is a word of small letters.
    pub fn create(database: &str, folder: &Path, name: &str) -> Result<Self, DbError> {
        let base = Url::new(database);
        if !base.is_postgres() {
            let url = folder.join(format!("{name}.db")).to_string_lossy().into_owned();
            return Ok(Self { url, schema: None });
        }
        let schema = format!("bench_{name}_{}", std::process::id());
        execute(&base, &format!("CREATE SCHEMA {schema}"))?;
        let join = if database.contains('?') { '&' } else { '?' };
        Ok(Self {
            url: format!("{database}{join}options=-csearch_path%3D{schema}"),
            schema: Some((base, schema)),
        })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some((base, schema)) = &self.schema
            && let Err(error) = execute(base, &format!("DROP SCHEMA {schema} CASCADE"))
        {
            tracing::warn!(error = &error as &dyn std::error::Error, schema, "a scratch schema is left behind");
        }
    }
}

fn execute(url: &Url, sql: &str) -> Result<(), DbError> {
    let mut conn = Conn::open(url)?;
    Ok(migrations::each_backend!(&mut conn, |c| c.batch_execute(sql))?)
}
