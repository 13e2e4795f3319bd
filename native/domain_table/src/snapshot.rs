//! A vector whose clones share: a list of millions is copied out while changes go on.

use std::sync::Arc;

/// Elements lie in leaves, leaves in branches; a clone copies pointers to branches, one for each
/// 16,384 elements. A change of what a clone shares copies a branch and a leaf first. So neither
/// cloning nor growing takes long, however long the vector is.
#[derive(Clone)]
pub(crate) struct SnapshotVec<T>(Vec<Branch<T>>);

type Branch<T> = Arc<Vec<Leaf<T>>>;
type Leaf<T> = Arc<Vec<T>>;

/// Elements of a leaf, and leaves of a branch.
const WIDTH: usize = 128;

impl<T> Default for SnapshotVec<T> {
    fn default() -> Self {
        SnapshotVec(Vec::new())
    }
}

impl<T: Clone> SnapshotVec<T> {
    pub fn len(&self) -> usize {
        let Some(branch) = self.0.last() else { return 0 };
        let in_leaf = branch.last().map_or(0, |leaf| leaf.len());
        ((self.0.len() - 1) * WIDTH + branch.len() - 1) * WIDTH + in_leaf
    }

    pub fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index / WIDTH / WIDTH)?.get(index / WIDTH % WIDTH)?.get(index % WIDTH)
    }

    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let branch = Arc::make_mut(self.0.get_mut(index / WIDTH / WIDTH)?);
        let leaf = Arc::make_mut(branch.get_mut(index / WIDTH % WIDTH)?);
        leaf.get_mut(index % WIDTH)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|branch| branch.iter()).flat_map(|leaf| leaf.iter())
    }

    pub fn push(&mut self, element: T) {
        let branch = match self.0.last_mut() {
            Some(branch) if !is_full(branch) => Arc::make_mut(branch),
            _ => return self.0.push(Arc::new(vec![Arc::new(vec![element])])),
        };
        match branch.last_mut() {
            Some(leaf) if leaf.len() < WIDTH => Arc::make_mut(leaf).push(element),
            // It will be full soon, most likely; the first one grows as it is needed.
            _ => {
                let mut leaf = Vec::with_capacity(WIDTH);
                leaf.push(element);
                branch.push(Arc::new(leaf));
            }
        }
    }

    pub fn pop(&mut self) -> Option<T> {
        let branch = Arc::make_mut(self.0.last_mut()?);
        let leaf = Arc::make_mut(branch.last_mut()?);
        let element = leaf.pop();
        if leaf.is_empty() {
            branch.pop();
        }
        if branch.is_empty() {
            self.0.pop();
        }
        element
    }

    /// Takes one out; the last one comes into its slot.
    pub fn swap_remove(&mut self, index: usize) -> Option<T> {
        let last = self.pop()?;
        match self.get_mut(index) {
            Some(slot) => Some(std::mem::replace(slot, last)),
            None => Some(last),
        }
    }
}

fn is_full<T>(branch: &Branch<T>) -> bool {
    branch.len() == WIDTH && branch.last().is_some_and(|leaf| leaf.len() == WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// More than a branch.
    const LONG: usize = WIDTH * WIDTH + WIDTH + 1;

    fn elements<T: Clone>(vector: &SnapshotVec<T>) -> Vec<T> {
        vector.iter().cloned().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

        /// Around the ends of leaves and branches, with clones that are kept.
        #[test]
        fn a_vector_behaves_like_a_vector_and_its_clones_stay_what_they_were(
            length in prop::sample::select(vec![0, WIDTH - 1, WIDTH, WIDTH * WIDTH - 1, LONG]),
            ops in prop::collection::vec((0..4u8, any::<prop::sample::Index>()), 1..40),
        ) {
            let mut model: Vec<usize> = (0..length).collect();
            let mut vector = SnapshotVec::default();
            model.iter().for_each(|&element| vector.push(element));
            let mut kept = Vec::new();
            for (n, (op, index)) in ops.into_iter().enumerate() {
                match op {
                    0 => {
                        vector.push(n);
                        model.push(n);
                    }
                    1 if !model.is_empty() => {
                        let index = index.index(model.len());
                        prop_assert_eq!(vector.swap_remove(index), Some(model.swap_remove(index)));
                    }
                    2 if !model.is_empty() => {
                        let index = index.index(model.len());
                        *vector.get_mut(index).unwrap() = n;
                        model[index] = n;
                    }
                    _ => kept.push((vector.clone(), model.clone())),
                }
                prop_assert_eq!(vector.len(), model.len());
                prop_assert_eq!(vector.get(model.len()), None);
            }
            kept.push((vector, model));
            for (vector, model) in kept {
                prop_assert_eq!(elements(&vector), model);
            }
        }
    }

    #[test]
    fn a_vector_that_is_emptied_keeps_nothing() {
        let mut vector = SnapshotVec::default();
        (0..LONG).for_each(|n| vector.push(n));
        (0..LONG).rev().for_each(|n| assert_eq!(vector.pop(), Some(n)));
        assert_eq!((vector.pop(), vector.len(), vector.0.len()), (None, 0, 0));
    }
}
