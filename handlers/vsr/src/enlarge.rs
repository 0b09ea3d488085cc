//! Pictures through a model: in tiles where memory asks for it, on as many sessions as the device has room for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use darkroom_api::{CancelToken, ErrorCode, JobError, ModelUse, Result};
use darkroom_inference::{Device, PooledSession, Precision, Runtime, Setup, retry_halving};

use crate::known::{Key, Known};
use crate::resize::Resize;
use crate::tiles::{Overlap, Picture, Tiling};
use crate::{Net, doubt, luma};

/// Furthest, in pixels, that a model is asked to see; where it sees further, tiles fade into one another.
const MAX_REACH_PX: usize = 96;
/// What tiles share where the model sees further than [`MAX_REACH_PX`].
const FAR: Overlap = Overlap { margin: 24, fade: 24 };
/// Smallest tile that memory is asked for.
const MIN_TILE_PIXELS: usize = 48 * 48;
/// Largest tile of a model that sees a part: beyond, what neighbours share hardly matters, and memory is only slower.
const MAX_TILE_PIXELS: usize = 1 << 19;
/// Most that a picture may cost in tiles that sessions share, whole pictures being 1.
const SHARED_COST: (usize, usize) = (7, 6);
/// Longest that a call should take: progress is told, and cancellation heard, between calls.
const CALL_SECS: f64 = 10.0;
/// Pixels a call on an accelerator, where frames are small and the model takes several.
const CALL_PIXELS: usize = 512 * 512;
/// Most pictures a call.
const MAX_CALL: usize = 8;

/// Models at work.
pub struct Enlarger<'a> {
    runtime: &'a Runtime,
    setup: Setup,
    sessions: Vec<PooledSession<'a>>,
    net: Net,
    /// Most pixels of one call's input that memory and time have room for.
    max_pixels: usize,
    known: &'a Known,
    key: Key,
    cancel: CancelToken,
    tilings: HashMap<(usize, usize), Tiling>,
    resize: Resize,
    /// Pixels that went in, and those of them where the model failed.
    pixels: u64,
    failed_pixels: u64,
}

/// How many sessions, and what they may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Sessions at work at once.
    pub sessions: usize,
    /// Memory of all of them.
    pub memory_mib: u64,
    /// How they compute.
    pub precision: Precision,
}

/// Told after each tile how much of the work at hand is done, 0 to 1.
pub type Watch<'a> = dyn Fn(f32) + Sync + 'a;

impl<'a> Enlarger<'a> {
    /// Opens the sessions; `known` is what was found out about the model before. `cancel` ends all work with it.
    ///
    /// # Errors
    /// As [`Runtime::session`] and [`Net::inspect`].
    pub fn open(
        runtime: &'a Runtime,
        model: &str,
        room: Room,
        known: &'a Known,
        cancel: &CancelToken,
    ) -> Result<Enlarger<'a>> {
        // On a CPU threads of one session wait for one another in each operation; sessions of one thread do not.
        let threads = runtime.intra_threads().div_ceil(room.sessions);
        let setup = Setup { precision: room.precision, threads, own_convolutions: true };
        // Sessions of other models, with the memory of their largest tiles, make room.
        runtime.release_others(model)?;
        let key = (runtime.registry().resolve(model)?.sha256, runtime.device()?, room.precision, threads);
        let inspect = || Net::inspect(&mut runtime.fresh_session(model, setup)?, cancel);
        let net = known.net(&key, inspect)?;
        let open = || runtime.session_with(model, setup);
        let mut sessions = vec![open()?];
        while sessions.len() < room.sessions {
            sessions.push(open()?);
        }
        let bytes = (room.memory_mib << 20) / room.sessions as u64 / net.bytes_a_pixel;
        let max_pixels = usize::try_from(bytes).unwrap_or(usize::MAX);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let in_time = (CALL_SECS / net.secs_a_pixel.max(1e-12)) as usize;
        let max_pixels = max_pixels.min(in_time).max(MIN_TILE_PIXELS);
        let cancel = cancel.clone();
        let (tilings, resize) = (HashMap::new(), Resize::new());
        let (pixels, failed_pixels) = (0, 0);
        Ok(Enlarger {
            runtime,
            setup,
            sessions,
            net,
            max_pixels,
            known,
            key,
            cancel,
            tilings,
            resize,
            pixels,
            failed_pixels,
        })
    }

    /// Sessions at work at once.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// What the model is.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// To tell what was used.
    pub fn model_use(&self) -> Option<ModelUse> {
        let session = self.sessions.first()?;
        Some(ModelUse { name: session.name().to_owned(), sha256: session.sha256().to_owned() })
    }

    /// How many pictures of a size keep all sessions busy.
    ///
    /// # Errors
    /// As [`Enlarger::enlarge`].
    pub fn batch(&mut self, width: usize, height: usize) -> Result<usize> {
        let tiles = self.tiling(width, height)?.len();
        let call = self.call_size(width, height)?;
        Ok((self.sessions.len() * call).div_ceil(tiles))
    }

    /// Tiles that a picture of a size is cut into.
    ///
    /// # Errors
    /// As [`Enlarger::enlarge`].
    pub fn tiles(&mut self, width: usize, height: usize) -> Result<usize> {
        Ok(self.tiling(width, height)?.len())
    }

    /// Pictures of red, green and blue in 0..=1, all of one size, `scale` times as large for each pass.
    ///
    /// # Errors
    /// Those of the model; `cancelled`; [`ErrorCode::OutOfMemory`] where the smallest tile does not fit.
    pub fn enlarge(&mut self, mut pictures: Vec<Picture>, passes: u32, watch: &Watch<'_>) -> Result<Vec<Picture>> {
        // A pass costs as much as it has pixels.
        #[allow(clippy::cast_precision_loss, reason = "a fraction for people")]
        let growth = (self.net.scale * self.net.scale) as f32;
        let whole: f32 = (0..passes).map(|pass| growth.powi(pass.cast_signed())).sum();
        let mut before = 0.0;
        for pass in 0..passes {
            let share = growth.powi(pass.cast_signed()) / whole;
            let done = |part: f32| watch(before + share * part);
            pictures = self.pass(pictures, &done)?;
            before += share;
        }
        Ok(pictures)
    }

    fn pass(&mut self, pictures: Vec<Picture>, watch: &Watch<'_>) -> Result<Vec<Picture>> {
        if self.net.channels == 3 {
            return self.in_doubt(&pictures, watch);
        }
        let lumas: Vec<Picture> = pictures.iter().map(luma::of).collect();
        let enlarged = self.in_doubt(&lumas, watch)?;
        let with_colour = pictures.iter().zip(enlarged).map(|(picture, luma)| {
            let larger = self.resize.picture(picture, luma.width, luma.height)?;
            Ok(luma::replace(larger, &luma))
        });
        with_colour.collect()
    }

    /// All pictures through the model once, but for where it fails.
    fn in_doubt(&mut self, pictures: &[Picture], watch: &Watch<'_>) -> Result<Vec<Picture>> {
        let mut made = self.through(pictures, watch)?;
        for (picture, made) in pictures.iter().zip(&mut made) {
            self.failed_pixels += doubt::stand_in(picture, made, &mut self.resize)? as u64;
            self.pixels += (picture.width * picture.height) as u64;
        }
        Ok(made)
    }

    /// The share of all pixels so far for which the model failed and the resampled picture stands in.
    #[allow(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn failed_share(&self) -> f64 {
        self.failed_pixels as f64 / self.pixels.max(1) as f64
    }

    /// All pictures through the model once; in smaller tiles where memory turns out short.
    fn through(&mut self, pictures: &[Picture], watch: &Watch<'_>) -> Result<Vec<Picture>> {
        let Some(first) = pictures.first() else { return Ok(Vec::new()) };
        let (width, height) = (first.width, first.height);
        let mut pixels = usize::MAX;
        loop {
            let tiling = self.tiling(width, height)?;
            pixels = pixels.min(tiling.width * tiling.height);
            let done = self.work(pictures, width, height, watch);
            match done {
                // A model of a fixed size takes no smaller ones.
                Err(error)
                    if error.code == ErrorCode::OutOfMemory && pixels > MIN_TILE_PIXELS && self.net.fixed.is_none() =>
                {
                    pixels = (pixels / 2).max(MIN_TILE_PIXELS);
                    tracing::warn!(pixels, "out of memory: going on with smaller tiles");
                    (self.max_pixels, self.tilings) = (pixels, HashMap::new());
                }
                done => return done,
            }
        }
    }

    fn work(&mut self, pictures: &[Picture], width: usize, height: usize, watch: &Watch<'_>) -> Result<Vec<Picture>> {
        let call = self.call_size(width, height)?;
        let tiling = self.tiling(width, height)?.clone();
        let (net, scale) = (&self.net, self.net.scale);
        let blank =
            |picture: &Picture| Mutex::new(Picture::new(net.channels, picture.width * scale, picture.height * scale));
        let made: Vec<Mutex<Picture>> = pictures.iter().map(blank).collect();
        let items = pictures.len() * tiling.len();
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (results, next, done) = (&made[..], &next, &done);
        let work =
            &Work { net, tiling: &tiling, pictures, results, items, call, next, done, cancel: &self.cancel, watch };
        let workers = self.sessions.len().min(items.div_ceil(call));
        std::thread::scope(|scope| {
            let (own, others) = self.sessions.split_at_mut(1);
            let helpers: Vec<_> =
                others[..workers - 1].iter_mut().map(|session| scope.spawn(move || work.run(session))).collect();
            let mut outcome = work.run(&mut own[0]);
            for helper in helpers {
                let panicked = |_| JobError::new(ErrorCode::Internal, "A model's thread panicked. Report this fault.");
                outcome = outcome.and(helper.join().map_err(panicked).flatten());
            }
            outcome
        })?;
        Ok(made.into_iter().map(|made| made.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
    }

    /// Tiles a call: one on a CPU, where more gain nothing.
    fn call_size(&mut self, width: usize, height: usize) -> Result<usize> {
        if !self.net.takes_several || self.sessions[0].device() == Device::Cpu {
            return Ok(1);
        }
        let tiling = self.tiling(width, height)?;
        let pixels = tiling.width * tiling.height;
        Ok((CALL_PIXELS.min(self.max_pixels) / pixels.max(1)).clamp(1, MAX_CALL))
    }

    fn tiling(&mut self, width: usize, height: usize) -> Result<&Tiling> {
        if !self.tilings.contains_key(&(width, height)) {
            let whole = Tiling::whole_pixels(&self.net, width, height);
            let most = self.max_pixels.min(MAX_TILE_PIXELS);
            let tiling = if whole.is_some_and(|pixels| pixels <= most || self.net.fixed.is_some()) {
                self.shared(width, height)?.unwrap_or_else(|| Tiling::whole(&self.net, width, height))
            } else {
                let overlap = self.overlap()?;
                // Of a part, a model that looks at the whole picture makes something else: as few parts as there is room for.
                let most = if overlap.fade > 0 { self.max_pixels } else { most };
                Tiling::cut(&self.net, width, height, overlap, most)
            };
            self.tilings.insert((width, height), tiling);
        }
        Ok(&self.tilings[&(width, height)])
    }

    /// A picture that fits, in a tile for each session, or for fewer, where what tiles share costs little: all of them are
    /// then at work on one picture, and need its memory once.
    fn shared(&mut self, width: usize, height: usize) -> Result<Option<Tiling>> {
        let sessions = self.sessions.len();
        if sessions == 1 || self.net.fixed.is_some() || self.sessions[0].device() != Device::Cpu {
            return Ok(None);
        }
        let overlap = self.overlap()?;
        if overlap.fade > 0 {
            return Ok(None);
        }
        let most = width * height * SHARED_COST.0 / SHARED_COST.1;
        let cuts = (2..=sessions).rev().map(|parts| Tiling::cut(&self.net, width, height, overlap, most / parts));
        Ok(cuts.into_iter().find(|cut| cut.len() > 1 && cut.len() * cut.width * cut.height <= most))
    }

    /// How much tiles must overlap, measured when it is first needed.
    fn overlap(&mut self) -> Result<Overlap> {
        let (net, runtime, cancel) = (&self.net, self.runtime, &self.cancel);
        // Where a model runs away, and noise makes some do that, it enlarges what is left of far pixels in the last digits of our
        // own convolutions. ONNX Runtime's keep nothing of them.
        let exact = Setup { own_convolutions: false, ..self.setup };
        let session = &mut self.sessions[0];
        self.known.overlap(&self.key, || {
            let reach = match net.fixed {
                // Its size cannot be changed to find out.
                Some(_) => None,
                None if session.device() == Device::Cpu => {
                    let mut exact = runtime.fresh_session(session.name(), exact)?;
                    let reach = net.reach(&mut exact, MAX_REACH_PX, cancel);
                    exact.discard();
                    reach?
                }
                None => net.reach(session, MAX_REACH_PX, cancel)?,
            };
            let overlap = reach.map_or(FAR, |margin| Overlap { margin, fade: 0 });
            tracing::debug!(?overlap, "tiles of the model overlap");
            Ok(overlap)
        })
    }
}

/// Tiles of pictures that sessions take from one another's hands.
struct Work<'a> {
    net: &'a Net,
    tiling: &'a Tiling,
    pictures: &'a [Picture],
    results: &'a [Mutex<Picture>],
    items: usize,
    call: usize,
    next: &'a AtomicUsize,
    done: &'a AtomicUsize,
    cancel: &'a CancelToken,
    watch: &'a Watch<'a>,
}

impl Work<'_> {
    fn run(&self, session: &mut PooledSession<'_>) -> Result<()> {
        let mut input = Vec::new();
        loop {
            let first = self.next.fetch_add(self.call, Ordering::Relaxed);
            if first >= self.items {
                return Ok(());
            }
            let outcome = self.call(session, first, (self.items - first).min(self.call), &mut input);
            if outcome.is_err() {
                // Nobody begins what nobody wants any more.
                self.next.store(self.items, Ordering::Relaxed);
                return outcome;
            }
        }
    }

    fn call(
        &self,
        session: &mut PooledSession<'_>,
        first: usize,
        mut count: usize,
        input: &mut Vec<f32>,
    ) -> Result<()> {
        let (tiles, scale) = (self.tiling.len(), self.net.scale);
        let mut at = first;
        let end = first + count;
        while at < end {
            self.cancel.check()?;
            count = count.min(end - at);
            let size = (self.tiling.width, self.tiling.height);
            retry_halving(&mut count, |count| {
                input.clear();
                for item in at..at + count {
                    self.tiling.take(item % tiles, &self.pictures[item / tiles], self.net.white, input);
                }
                let wanted = (count, self.net.channels, size.1 * scale, size.0 * scale);
                self.net.run(session, count, size, input, |shape, values| {
                    if shape != wanted {
                        let why = format!(
                            "The model made {shape:?} where {wanted:?} was due (n, c, h, w): it cannot be used."
                        );
                        return Err(JobError::new(ErrorCode::ModelInvalid, why));
                    }
                    let each = values.len() / count;
                    for (item, values) in (at..at + count).zip(values.chunks_exact(each.max(1))) {
                        let result = &self.results[item / tiles];
                        let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
                        self.tiling.put(item % tiles, values, scale, self.net.white, &mut result);
                    }
                    Ok(())
                })?
            })?;
            at += count;
            let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
            #[allow(clippy::cast_precision_loss, reason = "a fraction for people")]
            (self.watch)(done as f32 / self.items as f32);
        }
        Ok(())
    }
}
