//! The port: questions to the node, and its answers.
//!
//! One thread reads frames, and answers pings also while the threads that serve have much to do. Who
//! asks writes the question, and waits for the answer under its number. Frames are written by whoever
//! has one; that waits while the node does not read, and then there is nobody to answer either.

use crate::frame;
use crate::protocol::{FromNode, Question, Reply, ToNode};
use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// The most questions that wait for their answers; the node takes a few more.
const QUESTIONS: usize = 1000;
/// Seconds that a question about the node's table takes, in the metrics.
const BUCKETS: [f64; 11] =
    [0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.001, 0.005, 0.02, 0.1, 1.0];
/// How often the threads that serve show that they do.
const TURN: Duration = Duration::from_millis(100);

/// The way to the node.
pub struct Port {
    output: Mutex<Box<dyn Write + Send>>,
    last: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
    permits: Arc<Semaphore>,
    questions: Histogram,
    begun: Instant,
    /// Milliseconds since it began: when the threads that serve last showed that they do.
    turned: AtomicU64,
}

/// Who waits for an answer.
struct Waiting {
    parts: Vec<Reply>,
    answer: oneshot::Sender<Vec<Reply>>,
    _permit: OwnedSemaphorePermit,
}

/// Why [`Port::read`] ends.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The node is gone, or does not want the program any more.
    Closed,
    /// A frame was wrong.
    Wrong(String),
}

impl Port {
    /// Frames for the node go to `output`.
    pub fn new(output: impl Write + Send + 'static) -> Result<Self, prometheus::Error> {
        let questions = HistogramOpts::new(
            "mongoose_domain_http_question_duration_seconds",
            "Seconds that a question to the node took",
        );
        Ok(Port {
            output: Mutex::new(Box::new(output)),
            last: AtomicU64::new(0),
            waiting: Mutex::default(),
            permits: Arc::new(Semaphore::new(QUESTIONS)),
            questions: Histogram::with_opts(questions.buckets(BUCKETS.to_vec()))?,
            begun: Instant::now(),
            turned: AtomicU64::new(0),
        })
    }

    /// How long questions at the table took.
    pub fn questions(&self) -> &Histogram {
        &self.questions
    }

    /// Sends a frame.
    pub fn send(&self, frame: &ToNode<'_>) -> io::Result<()> {
        frame::write(&mut *self.output.lock(), frame)
    }

    /// Asks the node: the parts of the answer, the last of which always comes.
    pub async fn ask(&self, question: Question) -> io::Result<Vec<Reply>> {
        let is_timed = matches!(question, Question::StaticsAmong(_) | Question::AllowedAmong(_));
        let _timer = is_timed.then(|| self.questions.start_timer());
        let permit = self.permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { parts: Vec::new(), answer, _permit: permit };
        self.waiting.lock().insert(number, waiting);
        if let Err(error) = self.send(&ToNode::Question(number, question)) {
            self.waiting.lock().remove(&number);
            return Err(error);
        }
        answered.await.map_err(io::Error::other)
    }

    /// Reads frames until the end. `stop` is called when the node wants it.
    pub fn read(&self, mut input: impl Read, stop: impl Fn()) -> End {
        loop {
            match frame::read(&mut input) {
                Ok(Some(FromNode::Ping)) => {
                    // If it cannot be sent the node is gone, and the input ends.
                    let _ = self.send(&ToNode::Pong(self.milliseconds_without_turn()));
                }
                Ok(Some(FromNode::Stop)) => stop(),
                Ok(Some(FromNode::Part(number, part))) => {
                    if let Some(waiting) = self.waiting.lock().get_mut(&number) {
                        waiting.parts.push(part);
                    }
                }
                Ok(Some(FromNode::Answer(number, answer))) => {
                    if let Some(mut waiting) = self.waiting.lock().remove(&number) {
                        waiting.parts.push(answer);
                        // Maybe nobody waits for it any more.
                        let _ = waiting.answer.send(waiting.parts);
                    }
                }
                Ok(None) => return End::Closed,
                Err(error) => return End::Wrong(error.to_string()),
            }
        }
    }

    /// Shows again and again that tasks are run.
    pub async fn turn(&self) {
        let mut turns = tokio::time::interval(TURN);
        loop {
            turns.tick().await;
            self.turned.store(self.now(), Ordering::Relaxed);
        }
    }

    fn milliseconds_without_turn(&self) -> u64 {
        self.now().saturating_sub(self.turned.load(Ordering::Relaxed))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{End, Port};
    use crate::frame;
    use crate::protocol::{Question, Reply};
    use std::io::{Read, Write, pipe};
    use std::sync::Arc;

    /// An atom, or a tuple that begins with one.
    fn term(parts: &[&[u8]]) -> Vec<u8> {
        [&[131], parts.concat().as_slice()].concat()
    }

    fn send(to: &mut impl Write, term: &[u8]) {
        to.write_all(&[&(term.len() as u32).to_be_bytes(), term].concat()).unwrap();
    }

    fn receive(from: &mut impl Read) -> Vec<u8> {
        let mut head = [0; 4];
        from.read_exact(&mut head).unwrap();
        let mut bytes = vec![0; u32::from_be_bytes(head) as usize];
        from.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn answers_come_to_who_asked_whatever_their_order() {
        let (input, mut node_output) = pipe().unwrap();
        let (mut node_input, output) = pipe().unwrap();
        let port = Arc::new(Port::new(output).unwrap());
        let reader = port.clone();
        let reading = std::thread::spawn(move || reader.read(input, || ()));
        let ask = |name: &str| {
            let (port, question) = (port.clone(), Question::EnableDomain(name.to_owned()));
            tokio::spawn(async move { port.ask(question).await.unwrap() })
        };
        let first = ask("a");
        // {question, 0, {enable_domain, <<"a">>}}
        assert!(receive(&mut node_input).ends_with(b"a"));
        let second = ask("b");
        assert!(receive(&mut node_input).ends_with(b"b"));
        // Nobody asked that; {answer, 1, done}; {part, 0, {names, []}}; {answer, 0, done}
        send(&mut node_output, &term(&[b"h\x03d\0\x06answera\x09d\0\x04done"]));
        send(&mut node_output, &term(&[b"h\x03d\0\x06answera\x01d\0\x04done"]));
        assert!(matches!(second.await.unwrap().as_slice(), [Reply::Done]));
        send(&mut node_output, &term(&[b"h\x03d\0\x04parta\x00h\x02d\0\x05namesj"]));
        send(&mut node_output, &term(&[b"h\x03d\0\x06answera\x00d\0\x04done"]));
        let answer = first.await.unwrap();
        assert!(
            matches!(answer.as_slice(), [Reply::Names(names), Reply::Done] if names.is_empty())
        );
        drop(node_output);
        assert_eq!(reading.join().unwrap(), End::Closed);
    }

    #[test]
    fn a_wrong_frame_is_the_end() {
        let (input, mut node_output) = pipe().unwrap();
        let port = Port::new(std::io::sink()).unwrap();
        send(&mut node_output, b"GET / HTTP/1.1");
        let End::Wrong(text) = port.read(input, || ()) else { panic!("it goes on") };
        assert_eq!(text, "a frame is not understood");
        let (input, mut node_output) = pipe().unwrap();
        node_output.write_all(&[255; 4]).unwrap();
        let End::Wrong(text) = port.read(input, || ()) else { panic!("it goes on") };
        assert_eq!(text, format!("a frame of {} bytes is too long", u32::MAX));
        assert!(frame::LONGEST < u32::MAX as usize);
    }
}
