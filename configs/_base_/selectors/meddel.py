# The paper's method, as configs/meddel_eta*.py use it.
selector = dict(
    type='mmdel.MedDEL',
    epsilon=0.9,  # §4.1
    eta=0.8,  # Table 2
    keep='near',  # the prose of §3.2; 'far' is Algorithm 1 as printed
    rule='pairwise',
    scope='cluster',
    distance='cosine',
    max_iterations=1,
    clusterer=dict(type='mmdel.FaissKMeans', num_clusters='auto', num_iters=20, seed=0),
)
