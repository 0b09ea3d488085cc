use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use super::*;

/// Run as another process by the tests below: serves the directory it is given until it is killed.
#[tokio::test]
async fn child() {
    let Some(dir) = std::env::var_os("DARKROOM_TEST_STORE") else { return };
    let server = Server::start(Path::new(&dir), options()).await;
    println!("\nat {}", server.endpoint);
    server.task.await.unwrap();
}

/// A server in a process of its own.
fn process(dir: &Path) -> (Child, Client) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store::embedded::tests::restart::child", "--nocapture"]);
    command.env("DARKROOM_TEST_STORE", dir).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let endpoint = lines.map(Result::unwrap).find_map(|line| line.strip_prefix("at ").map(str::to_owned)).unwrap();
    (child, client(&endpoint, KEYS))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_a_kill_and_what_was_not_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, client) = process(dir.path());
    let (answer, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let writers = (0..4).map(|writer| {
        let (client, answer) = (client.clone(), answer.clone());
        tokio::spawn(async move {
            for n in 0.. {
                let key = format!("in/{writer}-{n}");
                let put = client.put_object().bucket("in-bucket").key(&key).body(bytes(key.as_bytes()));
                if put.send().await.is_err() {
                    return;
                }
                answer.send(key).unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    drop(answer);
    let mut answered = Vec::new();
    while answered.len() < 20 {
        answered.push(answers.recv().await.unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    futures::future::join_all(writers).await;
    while let Ok(key) = answers.try_recv() {
        answered.push(key);
    }

    let server = Server::start(dir.path(), options()).await;
    let listed = server.client.list_objects_v2().bucket("in-bucket").send().await.unwrap();
    let mut keys: Vec<_> = listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect();
    let mut announced: Vec<_> =
        server.events().await.iter().map(|e| e["s3"]["object"]["key"].as_str().unwrap().to_owned()).collect();
    keys.sort_unstable();
    announced.sort_unstable();
    assert_eq!(keys, announced, "an event for every object, and no other");
    for key in &answered {
        assert_eq!(server.get(key).await, key.as_bytes());
    }
    assert_eq!(blob_files(dir.path()), keys.len());
    server.stop().await;
}

#[tokio::test]
async fn one_server_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), options()).await;
    let db = Db::open(dir.path().join("db")).await.unwrap();
    let second = Embedded::open(dir.path(), db.clone(), options()).await;
    assert!(second.unwrap_err().to_string().contains("in use"));
    server.stop().await;
    let bad = Options { buckets: vec!["No".into()], ..options() };
    assert!(Embedded::open(dir.path(), db, bad).await.unwrap_err().to_string().contains("`No` is no bucket name"));
}
