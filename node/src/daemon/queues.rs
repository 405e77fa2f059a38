//! One queue of tasks for each VM, worked off in order; VMs do not wait for each other.
//!
//! A queue goes away when nothing has come for a while. Invariant: no two tasks of one VM are ever
//! worked on at the same time, also where a queue goes away just as the next task comes.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use lifeboat_protocol::VmId;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, error::SendError, unbounded_channel},
    task::JoinHandle,
    time::timeout,
};

/// How long a queue stays when nothing comes.
const STAYS: Duration = Duration::from_secs(60);

type Work<T> = dyn Fn(VmId, T) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

struct Queue<T> {
    tasks: UnboundedSender<T>,
    worker: JoinHandle<()>,
}

/// The queues.
pub(super) struct Queues<T> {
    work: Arc<Work<T>>,
    queues: HashMap<VmId, Queue<T>>,
    stays: Duration,
}

impl<T: Send + 'static> Queues<T> {
    /// No queue yet; `work` does a task.
    pub(super) fn new<F>(work: impl Fn(VmId, T) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let work: Arc<Work<T>> = Arc::new(move |vm, task| Box::pin(work(vm, task)));
        Self { work, queues: HashMap::new(), stays: STAYS }
    }

    /// Queues a task for a VM.
    pub(super) fn submit(&mut self, vm: VmId, task: T) {
        let task = match self.queues.get(&vm) {
            Some(queue) => match queue.tasks.send(task) {
                Ok(()) => return,
                Err(SendError(task)) => task,
            },
            None => task,
        };
        let before = self.queues.remove(&vm).map(|queue| queue.worker);
        self.begin(vm, task, before);
    }

    fn begin(&mut self, vm: VmId, task: T, before: Option<JoinHandle<()>>) {
        self.queues.retain(|_, queue| !queue.worker.is_finished());
        let (tasks, coming) = unbounded_channel();
        let (work, stays) = (Arc::clone(&self.work), self.stays);
        let worker = tokio::spawn(async move {
            if let Some(before) = before {
                // Whatever became of it, it works no more.
                let _ = before.await;
            }
            work(vm, task).await;
            work_off(&*work, vm, coming, stays).await;
        });
        self.queues.insert(vm, Queue { tasks, worker });
    }
}

async fn work_off<T>(work: &Work<T>, vm: VmId, mut coming: UnboundedReceiver<T>, stays: Duration) {
    while let Ok(Some(task)) = timeout(stays, coming.recv()).await {
        work(vm, task).await;
    }
    coming.close();
    // What came between the last look and the closing.
    while let Some(task) = coming.recv().await {
        work(vm, task).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const ONE: VmId = VmId([1; 16]);
    const TWO: VmId = VmId([2; 16]);

    async fn gone(queues: &Queues<u32>, vm: VmId) {
        let worker = &queues.queues.get(&vm).expect("it has a queue").worker;
        let ended = async {
            while !worker.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), ended).await.expect("it goes away");
    }

    #[tokio::test]
    async fn a_queue_keeps_the_order_and_goes_away() {
        let done: Arc<Mutex<Vec<(VmId, u32)>>> = Arc::default();
        let noted = Arc::clone(&done);
        let mut queues = Queues::new(move |vm, task| {
            let noted = Arc::clone(&noted);
            async move {
                tokio::task::yield_now().await;
                noted.lock().unwrap().push((vm, task));
            }
        });
        queues.stays = Duration::from_millis(20);
        for task in 0..4 {
            queues.submit(ONE, task);
        }
        gone(&queues, ONE).await;
        queues.submit(TWO, 0);
        assert_eq!(queues.queues.keys().collect::<Vec<_>>(), [&TWO], "the other one is forgotten");
        queues.submit(ONE, 4);
        for vm in [ONE, TWO] {
            gone(&queues, vm).await;
        }
        queues.submit(TWO, 1);
        gone(&queues, TWO).await;
        let of = |vm| {
            let done = done.lock().unwrap();
            done.iter().filter(|(of, _)| *of == vm).map(|(_, task)| *task).collect::<Vec<u32>>()
        };
        assert_eq!((of(ONE), of(TWO)), (vec![0, 1, 2, 3, 4], vec![0, 1]));
    }
}
