use super::*;

fn count(connection: &Connection) -> Result<i64, Error> {
    Ok(connection.query_row("SELECT count(*) FROM buckets", [], |row| row.get(0))?)
}

fn insert(transaction: &Transaction<'_>, name: &str) -> Result<(), Error> {
    transaction.execute("INSERT INTO buckets VALUES (?1, 0)", [name])?;
    Ok(())
}

#[tokio::test]
async fn a_failed_or_panicking_write_leaves_nothing_and_the_file_usable() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("db")).await.unwrap();
    let failed: Result<(), Error> = db
        .write(|tx| {
            insert(tx, "one")?;
            Err(rusqlite::Error::InvalidQuery.into())
        })
        .await;
    assert!(matches!(failed, Err(Error::Sqlite(rusqlite::Error::InvalidQuery))));
    let panicked: Result<(), Error> = db
        .write(|tx| {
            insert(tx, "two")?;
            panic!("as a bug would")
        })
        .await;
    assert!(matches!(panicked, Err(Error::Task(error)) if error.is_panic()));
    db.write(|tx| insert(tx, "three")).await.unwrap();
    assert_eq!(db.read(count).await.unwrap(), 1);
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    drop(Db::open(&path).await.unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
    let error = Db::open(&path).await.unwrap_err();
    assert!(matches!(error, Error::Version { found, .. } if found == VERSION + 1), "{error}");
}

#[tokio::test]
async fn an_older_file_is_brought_up_to_date_with_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let old = Connection::open(&path).unwrap();
    let is_new = |line: &&str| line.contains(" uncounted ") || line.contains("INDEX messages_sent");
    assert_eq!(SCHEMA.lines().filter(is_new).count(), STEPS.len());
    let first: String = SCHEMA.lines().filter(|line| !is_new(line)).map(|l| format!("{l}\n")).collect();
    old.execute_batch(&first).unwrap();
    let sql =
        "INSERT INTO messages (message_id, queue, body, sent_at, visible_at, receives) VALUES ('m', 'q', '', 0, 0, 3)";
    old.execute(sql, []).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let db = Db::open(&path).await.unwrap();
    let counts = db.read(|connection| -> Result<(i64, i64), Error> {
        let sql =
            "SELECT receives, uncounted FROM messages INDEXED BY messages_sent WHERE queue = 'q' AND dead_at IS NULL";
        Ok(connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
    });
    assert_eq!(counts.await.unwrap(), (3, 0));
}

#[tokio::test]
async fn writes_are_synced_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("db")).await.unwrap();
    let pragmas = db.write(|tx| -> Result<(i64, String), Error> {
        let synchronous = tx.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        Ok((synchronous, tx.pragma_query_value(None, "journal_mode", |row| row.get(0))?))
    });
    assert_eq!(pragmas.await.unwrap(), (2, "wal".to_owned()));
}

#[tokio::test]
async fn a_file_opened_twice_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let first = Db::open(dir.path().join("db")).await.unwrap();
    let second = Db::open(dir.path().join(".").join("db")).await.unwrap();
    let mut committed = std::pin::pin!(first.committed());
    committed.as_mut().enable();
    second.write(|tx| insert(tx, "one")).await.unwrap();
    committed.await;
    let other = Db::open(dir.path().join("other")).await.unwrap();
    assert_eq!((first.read(count).await.unwrap(), other.read(count).await.unwrap()), (1, 0));
}

#[tokio::test]
async fn a_read_sees_one_state_from_beginning_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("db")).await.unwrap();
    let (looked, written) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let read = db.read(move |connection| -> Result<(i64, i64), Error> {
        let before = count(connection)?;
        looked.0.send(()).unwrap();
        written.1.recv().unwrap();
        Ok((before, count(connection)?))
    });
    let write = async {
        tokio::task::spawn_blocking(move || looked.1.recv().unwrap()).await.unwrap();
        db.write(|tx| insert(tx, "one")).await.unwrap();
        written.0.send(()).unwrap();
    };
    assert_eq!(tokio::join!(read, write).0.unwrap(), (0, 0));
    assert_eq!(db.read(count).await.unwrap(), 1);
}

#[tokio::test]
async fn only_the_owner_reads_the_file_and_its_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("db")).await.unwrap();
    db.write(|tx| insert(tx, "one")).await.unwrap();
    for name in ["db", "db-wal", "db-shm"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}
