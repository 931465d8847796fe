# The same number of images from every video, chosen in it by coverage.
selector = dict(type='mmdel.GroupQuota', group='video', selector=dict(type='mmdel.Coverage'))
