# Every n-th frame of every video (folder, where no video is known).
selector = dict(type='mmdel.EveryNth')
