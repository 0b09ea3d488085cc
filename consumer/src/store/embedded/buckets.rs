//! Bucket operations.

use rusqlite::params;
use s3s::{
    S3Result,
    dto::{Bucket, ListBucketsOutput},
    s3_error,
};

use super::{Store, rows};
use crate::db::Error;

impl Store {
    pub(super) async fn make_bucket(&self, name: String) -> S3Result<()> {
        let created = self.db.write(move |tx| rows::create_bucket(tx, &name)).await.map_err(|error: Error| error)?;
        if created { Ok(()) } else { Err(s3_error!(BucketAlreadyOwnedByYou)) }
    }

    pub(super) async fn find_bucket(&self, name: String) -> S3Result<()> {
        self.look(move |connection| rows::check_bucket(connection, &name)).await
    }

    pub(super) async fn buckets(&self) -> S3Result<ListBucketsOutput> {
        let buckets = self.db.read(|connection| -> Result<_, Error> {
            let mut select = connection.prepare_cached("SELECT name, created_at FROM buckets ORDER BY name")?;
            let rows = select.query_map([], |row| {
                let created = rows::timestamp(row.get(1)?);
                Ok(Bucket { name: Some(row.get(0)?), creation_date: Some(created), ..Bucket::default() })
            })?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        });
        Ok(ListBucketsOutput { buckets: Some(buckets.await?), ..ListBucketsOutput::default() })
    }

    /// Only an empty bucket goes; its unfinished uploads go with it.
    pub(super) async fn remove_bucket(&self, name: String) -> S3Result<()> {
        self.change(move |tx| {
            rows::check_bucket(tx, &name)?;
            let mut objects = tx.prepare_cached("SELECT 1 FROM objects WHERE bucket = ?1").map_err(Error::from)?;
            if objects.exists([&name]).map_err(Error::from)? {
                return Err(s3_error!(BucketNotEmpty));
            }
            let sql = "SELECT blob FROM parts JOIN uploads ON uploads.id = parts.upload WHERE bucket = ?1";
            let garbage = rows::blobs(tx, sql, params![name])?;
            tx.execute("DELETE FROM uploads WHERE bucket = ?1", [&name]).map_err(Error::from)?;
            tx.execute("DELETE FROM buckets WHERE name = ?1", [&name]).map_err(Error::from)?;
            Ok(((), garbage))
        })
        .await
    }
}
