"""From cases with known truth to a model that knows how often it is wrong. Needs MONAI and scikit-learn.

Before a training four steps settle everything, each a function of what the ones before gave:

1. Read the data (``dataset``): cases, patients and facts of every case, with all faults at once.
2. Plan (``auto_plan``): every decision as data, each with its reason.
3. Split (``split``): by patient, into a training and a validation subset.
4. Prepare (``prepare``): the three together, with the weights to start from, in a folder of their own.

Then ``train`` runs the steps of the network, ``calibrate`` makes its error probabilities true on the validation
patients, and ``evaluate`` measures. ``cross_validation`` does all of it once for each fold. Every module's docstring
names its step.

The rule of this room: it may import every other room but ``csam.process``; no other room but ``csam.cli`` imports it.
"""
