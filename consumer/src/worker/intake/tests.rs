use std::sync::Mutex;

use tokio::sync::Notify;

use super::*;
use crate::db::{Db, Error};
use crate::queue::SendOptions;
use crate::queue::sqlite::{Options, SqliteQueue};

const TERMS: Terms = Terms { weight: 1, priority: 0, deferred: false, hours: None };

/// Real queues in files, a worker whose jobs are done when they are told to be, and what it took in order.
struct Site {
    files: Vec<Db>,
    queues: Vec<Arc<dyn Queue>>,
    taken: Arc<Mutex<Vec<String>>>,
    changed: Arc<Notify>,
    done: Arc<Semaphore>,
    drain: Drain,
    worker: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Site {
    /// `bodies` stand in the queues before the worker starts.
    async fn start(hands: usize, terms: &[Terms], bodies: &[(usize, &str)]) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, mut queues) = (Vec::new(), Vec::<Arc<dyn Queue>>::new());
        for index in 0..terms.len() {
            let db = Db::open(&dir.path().join(index.to_string())).await.unwrap();
            queues.push(Arc::new(SqliteQueue::new(db.clone(), Options::default())));
            files.push(db);
        }
        for (queue, body) in bodies {
            queues[*queue].send(body, SendOptions::default()).await.unwrap();
        }
        let (taken, changed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (done, drain) = (Arc::new(Semaphore::new(0)), Drain::default());
        let travel = {
            let (taken, changed, done) = (Arc::clone(&taken), Arc::clone(&changed), Arc::clone(&done));
            move |lease: Lease| {
                let (taken, changed, done) = (Arc::clone(&taken), Arc::clone(&changed), Arc::clone(&done));
                async move {
                    assert_eq!(lease.counted(), 1, "hand-overs without a hand do not count");
                    taken.lock().unwrap().push(String::from_utf8(lease.body().to_vec()).unwrap());
                    changed.notify_one();
                    done.acquire().await.unwrap().forget();
                    let _settled = lease.ack().await.unwrap();
                }
            }
        };
        let sources = terms.iter().zip(&queues).enumerate();
        let sources = sources.map(|(index, (terms, queue))| Source {
            name: index.to_string(),
            queue: Arc::clone(queue),
            terms: *terms,
        });
        let (sources, heard) = (sources.collect(), drain.clone());
        let worker = tokio::spawn(async move { run(sources, hands, &heard, travel).await });
        Site { files, queues, taken, changed, done, drain, worker, _dir: dir }
    }

    async fn send(&self, queue: usize, body: &str) {
        self.queues[queue].send(body, SendOptions::default()).await.unwrap();
    }

    /// Waits until so many were taken.
    async fn taken(&self, count: usize) -> Vec<String> {
        let enough = async {
            loop {
                let taken = self.taken.lock().unwrap().clone();
                if taken.len() >= count {
                    return taken;
                }
                self.changed.notified().await;
            }
        };
        timeout(Duration::from_secs(30), enough).await.unwrap_or_else(|_| panic!("{:?}", self.taken.lock().unwrap()))
    }

    /// Everything comes to its end, and nothing is left in flight.
    async fn end(self) {
        self.drain.begin("the test is over");
        self.done.add_permits(1000);
        timeout(Duration::from_secs(10), self.worker).await.unwrap().unwrap();
        for queue in &self.queues {
            assert_eq!(queue.depth().await.unwrap().in_flight, 0);
        }
    }
}

#[tokio::test]
async fn full_queues_are_taken_from_by_their_weights_and_a_higher_priority_overtakes() {
    let terms = [Terms { weight: 3, ..TERMS }, TERMS, Terms { priority: 1, ..TERMS }];
    let bodies: Vec<_> = (0..12).flat_map(|_| [(0, "a"), (1, "b")]).collect();
    let site = Site::start(1, &terms, &bodies).await;
    site.taken(1).await;
    site.done.add_permits(7);
    site.taken(8).await;
    site.send(2, "urgent").await;
    site.done.add_permits(4);
    let taken = site.taken(12).await;
    let of = |body: &str| taken[..8].iter().filter(|taken| *taken == body).count();
    assert_eq!((of("a"), of("b"), taken[8].as_str()), (6, 2, "urgent"), "{taken:?}");
    assert_eq!(site.queues[0].depth().await.unwrap().in_flight, 1, "one hand holds one message");
    site.end().await;
}

#[tokio::test]
async fn idle_it_waits_on_all_queues_and_holds_nothing_that_it_has_no_hand_for() {
    let later = Terms { deferred: true, ..TERMS };
    let site = Site::start(2, &[TERMS, TERMS, later], &[]).await;
    for (queue, body) in [(1, "first"), (2, "second")] {
        let before = Instant::now();
        site.send(queue, body).await;
        site.taken(1 + usize::from(body == "second")).await;
        assert!(before.elapsed() < WAIT / 4, "not after the wait on another queue");
    }
    // Its hands are full, and the first queue is still waited on.
    site.send(0, "third").await;
    let handed_back = async {
        let sql = "SELECT receives = 1 AND receipt IS NULL FROM messages";
        while !site.files[0].read(|file| Ok::<bool, Error>(file.query_row(sql, [], |row| row.get(0))?)).await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), handed_back).await.unwrap();
    site.done.add_permits(1);
    assert_eq!(site.taken(3).await[2], "third");
    site.end().await;
}

/// Fails, or does not answer at all.
#[derive(Debug)]
struct Broken {
    silent: bool,
}

#[async_trait::async_trait]
impl Queue for Broken {
    fn lease_duration(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn send(&self, _: &str, _: SendOptions) -> crate::queue::Result<crate::queue::MessageId> {
        std::future::pending().await
    }

    async fn receive(&self, _: usize, _: Duration) -> crate::queue::Result<Vec<Delivery>> {
        match self.silent {
            true => std::future::pending().await,
            false => Err(crate::queue::Error::unavailable(std::io::Error::other("down"))),
        }
    }

    async fn extend(&self, _: &crate::queue::Receipt, _: Duration) -> crate::queue::Result<crate::queue::Extended> {
        std::future::pending().await
    }

    async fn settle(&self, _: crate::queue::Receipt, _: Settlement) -> crate::queue::Result<crate::queue::Settled> {
        std::future::pending().await
    }

    async fn depth(&self) -> crate::queue::Result<crate::queue::Depth> {
        std::future::pending().await
    }

    async fn dead_letters(
        &self,
        _: usize,
        _: Option<&crate::queue::DeadLetter>,
    ) -> crate::queue::Result<Vec<crate::queue::DeadLetter>> {
        std::future::pending().await
    }

    async fn redrive(&self, _: crate::queue::Redrive) -> crate::queue::Result<u64> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_broker_that_fails_or_does_not_answer_holds_up_no_other() {
    for silent in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let queue = SqliteQueue::new(Db::open(&dir.path().join("db")).await.unwrap(), Options::default());
        queue.send("a", SendOptions::default()).await.unwrap();
        let urgent = Terms { priority: 9, ..TERMS };
        let sources = [(Arc::new(Broken { silent }) as Arc<dyn Queue>, urgent), (Arc::new(queue.clone()), TERMS)];
        let sources = sources.map(|(queue, terms)| Source { name: String::new(), queue, terms }).to_vec();
        let drain = Drain::default();
        let ended = drain.clone();
        let travel = move |lease: Lease| {
            let drain = drain.clone();
            async move {
                let _settled = lease.ack().await.unwrap();
                drain.begin("the job is done");
            }
        };
        timeout(Duration::from_secs(20), run(sources, 1, &ended, travel)).await.unwrap();
        assert_eq!(queue.depth().await.unwrap().visible, 0);
    }
}
