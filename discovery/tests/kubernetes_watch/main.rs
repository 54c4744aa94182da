//! The Kubernetes registry against recorded watch streams: what the API server said, good and bad,
//! and where the model is afterwards.
//!
//! A recording is a file of `tests/recorded`. It plays one kind; the others are there and empty:
//!
//! ```text
//! kind EndpointSlice            the kind; Service if left out
//! > stream                      a request that lists as a stream; then the lines of the answer
//! > list                        a request for the first page; `> list TOKEN` for a further one
//! > watch 7                     a request to watch what is newer than 7
//! ! 410 {..}                    answers with an error instead; `! 429 retry-after=3 {..}`
//! ~ 10                          the server pauses for so many seconds
//! ^ {"type":"AD                 the connection breaks after this piece of a line
//! $                             the connection stays open, and silent
//! = objects shop/a shop/b       the objects of the kind that the model has in the end
//! = problem Service shop/a: ..  what is wrong with objects in the end
//! = error 410                   an error that was reported on the way, in part
//! = waited 3                    the least time that went by, in seconds
//! = lists 2                     how often the kind was listed
//! ```

mod both;
mod player;
mod recording;

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};
use weir_discovery::{
    kubernetes::{Watches, watch},
    model::{Event, ObjectKey},
    publish, rules,
    xds::{Generator, Hub},
};

use self::{
    player::Player,
    recording::{Expected, Recording},
};

/// Longer than any recording takes, on a clock that tests wind forward.
const LONG: Duration = Duration::from_secs(900);

/// The objects that the model has, by their names, and its events.
#[derive(Debug, Default)]
struct World {
    objects: BTreeSet<String>,
    events: usize,
}

impl World {
    fn take(&mut self, batch: Vec<Event>) {
        for event in batch {
            self.events += 1;
            match event {
                Event::Applied(object) => self.objects.insert(name(&object.key())),
                Event::Deleted(key) => self.objects.remove(&name(&key)),
            };
        }
    }
}

fn name(key: &ObjectKey) -> String {
    match key {
        ObjectKey::Service(name) | ObjectKey::EndpointSlice(name) | ObjectKey::Pod(name) => {
            name.to_string()
        }
        ObjectKey::Node(name) => name.to_string(),
        ObjectKey::Attachment(rule) => rule.name.to_string(),
    }
}

/// Plays a recording to its end and says where that leads.
async fn play(recording: Recording) -> (World, Watches, Duration) {
    let began = Instant::now();
    let mut player = Player::new(recording);
    let watches = Watches::default();
    let (sender, mut receiver) = mpsc::channel(16);
    let watching = tokio::spawn(watch(
        player.client(),
        rules::Settings::default(),
        sender,
        watches.clone(),
    ));
    let mut world = World::default();
    let played = tokio::time::timeout(LONG, async {
        loop {
            tokio::select! {
                batch = receiver.recv() => world.take(batch.expect("the watch goes on")),
                () = player.played() => break,
            }
        }
    });
    let in_time = played.await;
    let unexpected = player.unexpected();
    assert!(
        unexpected.is_empty(),
        "not in the recording: {unexpected:?}"
    );
    in_time.unwrap_or_else(|_| panic!("still to come: {:?}", player.to_come()));
    let took = began.elapsed();
    // What was said last is still on its way through the channel.
    while let Ok(Some(batch)) = tokio::time::timeout(Duration::from_secs(1), receiver.recv()).await
    {
        world.take(batch);
    }
    watching.abort();
    let unexpected = player.unexpected();
    assert!(
        unexpected.is_empty(),
        "not in the recording: {unexpected:?}"
    );
    (world, watches, took)
}

async fn check(path: &Path) {
    let file = path.display();
    let text = std::fs::read_to_string(path).expect("recording");
    let recording = Recording::parse(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (kind, expected) = (recording.kind.clone(), recording.expected.clone());
    let (world, watches, took) = play(recording).await;
    let Expected {
        objects,
        problems,
        errors,
        lists,
        waited,
    } = expected;
    assert_eq!(world.objects, objects, "{file}: objects");
    let found: BTreeSet<_> = watches.problems().iter().map(ToString::to_string).collect();
    assert_eq!(found, problems, "{file}: problems");
    let status = watches.kinds().into_iter().find(|it| it.kind == kind);
    let status = status.expect("kind");
    let last = status.last_error.clone().unwrap_or_default();
    assert_eq!(status.errors > 0, !errors.is_empty(), "{file}: {status:?}");
    assert!(
        errors.last().is_none_or(|it| last.contains(it)),
        "{file}: {last}"
    );
    assert_eq!(status.objects, objects.len(), "{file}: {status:?}");
    assert!(
        lists.is_none_or(|lists| lists == status.lists),
        "{file}: {status:?}"
    );
    assert!(took >= waited, "{file}: took {took:?}");
    assert!(watches.is_synced(), "{file}: {:?}", watches.kinds());
}

#[tokio::test(start_paused = true)]
async fn every_recording_leads_where_it_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let files = std::fs::read_dir(directory).expect("recordings");
    let mut files: Vec<_> = files.map(|file| file.expect("file").path()).collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        check(&file).await;
    }
}

fn added(number: usize) -> String {
    format!(
        r#"{{"type":"ADDED","object":{{"metadata":{{"name":"s{number}","namespace":"shop","resourceVersion":"{number}"}},"spec":{{"clusterIP":"10.96.{}.{}","ports":[{{"port":80}}]}}}}}}"#,
        number / 250,
        number % 250 + 1,
    )
}

const END_OF_LIST: &str = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9000","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;

#[tokio::test(start_paused = true)]
async fn five_thousand_objects_go_at_once_while_the_watch_is_away() {
    let mut text = "> stream\n".to_owned();
    for number in 0..5001 {
        text += &(added(number) + "\n");
    }
    text += END_OF_LIST;
    text += "\n> watch 9000\n! 410 {}\n> stream\n";
    text += &(added(7) + "\n" + END_OF_LIST + "\n$\n");
    let (world, watches, _) = play(Recording::parse(&text).expect("recording")).await;
    assert_eq!(world.objects, ["shop/s7".to_owned()].into());
    assert_eq!(world.events, 5001 + 1 + 5000);
    assert_eq!(watches.kinds()[0].objects, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_before_every_kind_was_listed() {
    let text = format!("kind Node\n> stream\n~ 5\n{END_OF_LIST}\n$\n");
    let player = Player::new(Recording::parse(&text).expect("recording"));
    let hub = Arc::new(Hub::new(Generator::default()));
    let watches = Watches::default();
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(watch(
        player.client(),
        rules::Settings::default(),
        sender,
        watches.clone(),
    ));
    tokio::spawn(publish::publish_when(
        watches.clone().synced(),
        receiver,
        hub.clone(),
    ));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let synced: Vec<_> = watches.kinds().iter().map(|kind| kind.synced).collect();
    let mut expected = vec![true; synced.len()];
    expected[3] = false;
    assert_eq!(synced, expected);
    assert!(!hub.is_synced() && !watches.is_synced());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(hub.is_synced() && watches.is_synced());
}
