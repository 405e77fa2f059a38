//! Constants of the control loop that can be halved and doubled, so that it can be seen what hangs on each.
//!
//! Invariant: without the cargo feature `tuning`, which no product is built with, [`Tuning`] holds nothing
//! and [`Tuning::of`] is the constant's value when this is compiled.
//!
//! Each stands where it is used, and its doc has its reason; where that says *sensitivity*, it was measured by
//! `lifeboat-sim experiment sensitivity`, which tries all.
//!
//! Not here: the timers of liveness, leases and repeats; what limits messages; timers that only run when
//! something has failed; what only clusters with stewards have; the knobs in [`crate::Config`] and the
//! cluster file, which can be set as they are; and how little of its rate a guest leaves at worst
//! ([`crate::vm::precopy_time`]), which is part of a formula that the daemon uses, too.

/// A constant that is known by a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Constant<T> {
    pub(crate) value: T,
    #[cfg(feature = "tuning")]
    name: Name,
    /// The whole, if this is a part near it: then what lies between the two is halved and doubled.
    #[cfg(feature = "tuning")]
    whole: Option<T>,
}

macro_rules! constants {
    ($($name:ident = $constant:path,)*) => {
        /// A constant by its name. [`Self::path`] says where it stands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // Each constant's own doc is what there is to say.
        pub enum Name { $($name,)* }

        impl Name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The module where it stands, and its name there.
            pub fn path(self) -> &'static str {
                match self { $(Self::$name => stringify!($constant),)* }
            }

            /// Its value if it is so many times what it is, with its unit where that is a time.
            #[cfg(feature = "tuning")]
            pub fn shown(self, times: Times) -> alloc::string::String {
                use crate::{
                    allocation, capacity, departures, membership, node, order, pause, vm, width,
                };
                match self { $(Self::$name => $constant.shown(times),)* }
            }

            /// The name that the constant of this name goes by.
            #[cfg(all(test, feature = "tuning"))]
            fn borne(self) -> Self {
                use crate::{
                    allocation, capacity, departures, membership, node, order, pause, vm, width,
                };
                match self { $(Self::$name => $constant.name,)* }
            }
        }
    };
}

constants! {
    Least = capacity::LEAST,
    FirstStep = capacity::FIRST_STEP_PERMILLE,
    LargestStep = capacity::LARGEST_STEP_PERMILLE,
    ProbePause = capacity::PROBE_PAUSE,
    WideStep = capacity::WIDE_STEP_PERMILLE,
    Brought = capacity::BROUGHT_PERMILLE,
    Same = capacity::SAME_PERMILLE,
    Arrived = capacity::ARRIVED_PERMILLE,
    ShortestRound = capacity::SHORTEST_ROUND,
    RoundTripsOfARound = capacity::ROUND_TRIPS_OF_A_ROUND,
    UnsettledPart = capacity::UNSETTLED_PART,
    Followed = capacity::FOLLOWED_PERMILLE,
    Mostly = capacity::MOSTLY_PERMILLE,
    Hardly = capacity::HARDLY_PERMILLE,
    Full = capacity::FULL_PERMILLE,
    Whole = capacity::WHOLE_PERMILLE,
    ChangingHands = capacity::CHANGING_HANDS_PERMILLE,
    ManySenders = capacity::MANY_SENDERS,
    NearlyAll = capacity::NEARLY_ALL_PERMILLE,
    RoundsToCut = capacity::ROUNDS_TO_CUT,
    RememberedRounds = capacity::REMEMBERED_ROUNDS,
    LeastCut = capacity::LEAST_CUT_PERMILLE,
    Sunken = capacity::SUNKEN_PERMILLE,
    DoubtedAfter = capacity::DOUBTED_AFTER,
    DoubtedTo = capacity::DOUBTED_TO_PERMILLE,
    TrialPause = width::PAUSE,
    TrialPauseMost = width::PAUSE_MOST,
    Trial = width::TRIAL,
    TrialRoundTrips = width::TRIAL_ROUND_TRIPS,
    Critical = order::CRITICAL_PERMILLE,
    EndsWithinTrials = order::ENDS_WITHIN_TRIALS,
    Starter = allocation::STARTER,
    WorthStarting = allocation::WORTH_STARTING,
    Switching = allocation::SWITCHING,
    Handover = allocation::HANDOVER,
    HandoverHalfRoundTrips = allocation::HANDOVER_HALF_ROUND_TRIPS,
    SlowStartRoundTrips = allocation::SLOW_START_ROUND_TRIPS,
    PauseRoundTrips = pause::ROUND_TRIPS,
    PauseLocal = pause::LOCAL,
    ConvergesEasily = pause::CONVERGES_EASILY_PERMILLE,
    LeastPart = pause::LEAST_PART,
    Converging = vm::CONVERGING_PERMILLE,
    LocalStart = departures::LOCAL_START,
    RampRoundTrips = departures::RAMP_ROUND_TRIPS,
    EscalateEvery = departures::patience::ESCALATE_EVERY,
    PatientPasses = departures::patience::PATIENT_PASSES,
    SetupsInMean = node::absorb::SETUPS_IN_MEAN,
    Head = node::queue::HEAD,
    FirstRoundTrip = node::queue::FIRST_ROUND_TRIP,
    BelievedFor = node::samples::BELIEVED_FOR,
    ReservedAhead = node::schedule::RESERVED_AHEAD,
    KeptFor = node::schedule::KEPT_FOR,
    Exhausted = node::schedule::EXHAUSTED_PERMILLE,
    Imagined = node::schedule::IMAGINED_PERMILLE,
    Enough = node::schedule::ENOUGH_PERMILLE,
    FirstSetup = node::schedule::FIRST_SETUP,
    FirstSetupRoundTrips = node::schedule::FIRST_SETUP_ROUND_TRIPS,
    Lightest = node::schedule::LIGHTEST,
    WorthHandingOn = node::schedule::WORTH_HANDING_ON,
    RoundTripsInMean = membership::ROUND_TRIPS_IN_MEAN,
}

impl Name {
    /// The constant of this name.
    pub(crate) const fn of<T: Copy>(self, value: T) -> Constant<T> {
        Constant {
            value,
            #[cfg(feature = "tuning")]
            name: self,
            #[cfg(feature = "tuning")]
            whole: None,
        }
    }
}

/// Which constant is another than it is: none, or one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tuning {
    #[cfg(feature = "tuning")]
    change: Option<(Name, Times)>,
}

#[cfg(not(feature = "tuning"))]
impl<T: Copy> Constant<T> {
    /// It is a part of this whole, and near to it.
    pub(crate) const fn near(self, _: T) -> Self {
        self
    }
}

#[cfg(not(feature = "tuning"))]
impl Tuning {
    /// What a constant is.
    pub(crate) const fn of<T: Copy>(self, constant: Constant<T>) -> T {
        constant.value
    }
}

#[cfg(feature = "tuning")]
pub use with_the_feature::Times;

#[cfg(feature = "tuning")]
mod with_the_feature {
    use alloc::{format, string::String, string::ToString};
    use core::{
        ops::{Add, Sub},
        time::Duration,
    };

    use super::{Constant, Name, Tuning};

    /// How many times what it is a constant shall be.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Times {
        /// Half of it, rounded up.
        Half,
        /// What it is.
        One,
        /// Twice as much.
        Two,
    }

    impl Times {
        /// All of them, upward.
        pub const ALL: [Self; 3] = [Self::Half, Self::One, Self::Two];
    }

    impl Tuning {
        /// One constant is so many times what it is.
        pub fn one(name: Name, times: Times) -> Self {
            Self { change: Some((name, times)) }
        }

        /// What a constant is.
        pub(crate) fn of<T: Amount>(self, constant: Constant<T>) -> T {
            match self.change {
                Some((name, times)) if name == constant.name => constant.times(times),
                _ => constant.value,
            }
        }
    }

    /// What can be halved and doubled.
    pub(crate) trait Amount:
        Copy + PartialOrd + Add<Output = Self> + Sub<Output = Self>
    {
        fn half(self) -> Self;
        fn shown(self) -> String;
    }

    impl<T: Copy> Constant<T> {
        /// It is a part of this whole, and near to it.
        pub(crate) const fn near(self, whole: T) -> Self {
            Self { whole: Some(whole), ..self }
        }
    }

    impl<T: Amount> Constant<T> {
        /// So many times what it is.
        fn times(self, times: Times) -> T {
            let scaled = |amount: T| match times {
                Times::Half => amount.half(),
                Times::One => amount,
                Times::Two => amount + amount,
            };
            match self.whole {
                Some(whole) if self.value > whole => whole + scaled(self.value - whole),
                Some(whole) => whole - scaled(whole - self.value),
                None => scaled(self.value),
            }
        }

        /// The same for people.
        pub(super) fn shown(self, times: Times) -> String {
            self.times(times).shown()
        }
    }

    macro_rules! numbers {
        ($($number:ty)*) => {$(
            impl Amount for $number {
                fn half(self) -> Self {
                    self.div_ceil(2)
                }

                fn shown(self) -> String {
                    self.to_string()
                }
            }
        )*};
    }

    numbers!(u8 u16 u32 u64 usize);

    impl Amount for Duration {
        fn half(self) -> Self {
            self / 2
        }

        fn shown(self) -> String {
            format!("{} ms", self.as_millis())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn one_constant_is_turned_and_no_other() {
            const STEP: Constant<u64> = Name::FirstStep.of(80);
            const PAUSE: Constant<Duration> = Name::ProbePause.of(Duration::from_secs(2));
            let tuning = Tuning::one(Name::FirstStep, Times::Two);
            assert_eq!((tuning.of(STEP), tuning.of(PAUSE)), (160, Duration::from_secs(2)));
            assert_eq!(Tuning::default().of(STEP), 80);
        }

        #[test]
        fn of_a_part_near_the_whole_the_rest_is_turned() {
            let shown = |name: Name| Times::ALL.map(|times| name.shown(times));
            assert_eq!(shown(Name::Followed), ["975", "950", "900"]);
            assert_eq!(shown(Name::Arrived), ["1025", "1050", "1100"]);
            assert_eq!(shown(Name::RememberedRounds), ["2", "3", "6"]);
            assert_eq!(shown(Name::SlowStartRoundTrips), ["1", "2", "4"]);
        }

        #[test]
        fn each_constant_goes_by_its_own_name() {
            for name in Name::ALL {
                assert_eq!(name.borne(), *name, "{} goes by another name", name.path());
                let [half, one, two] = Times::ALL.map(|times| name.shown(times));
                assert!(half != one && one != two, "{name:?}: {half}, {one}, {two}");
            }
        }
    }
}
